"""The way in: meter-days sealed and committed as one, refused lines kept."""
