"""A package, so that none that something else installs under this name is taken for it: autorank does, for one."""
