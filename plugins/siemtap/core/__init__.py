"""Pure: no sockets, files, clock or environment. A test reads the imports."""
