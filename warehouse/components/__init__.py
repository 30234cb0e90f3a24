"""What people and algorithms say about the archive: typed sockets, checked values, annotations."""
