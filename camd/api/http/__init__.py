"""What is served by HTTP: pages of health and metrics, files, and who may read them.

Also the methods about who may: sign-in codes and API keys.
"""
