"""What is served by HTTP: pages of health and metrics, files, and who may read them."""
