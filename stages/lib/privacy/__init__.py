"""Privacy screening over the 18 classes of HIPAA's Safe Harbor: plant, find, replace, measure."""
