"""The log searched and analysed, by an index that is made of the tree and never believed."""
