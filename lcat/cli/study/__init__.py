"""The commands of ``lcat study``: ``run`` (the default), ``report``, ``datasets`` and ``defaults``."""
