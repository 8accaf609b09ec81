"""The log as it is written: an entry is durable, then stands in a signed tree."""
