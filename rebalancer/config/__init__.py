"""The files a person writes (networks.yaml, portfolio.yaml, .env), read strictly.

``load`` turns them into a ``ResolvedPortfolio`` or one clear ConfigError; nothing above this room
reads a file of configuration.
"""
