"""One module per shape in which reads arrive; strings in, columns out, trusting nobody."""
