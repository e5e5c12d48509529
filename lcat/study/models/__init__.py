"""What is trained: layers by name, their hyper-parameters and defaults, closed forms."""
