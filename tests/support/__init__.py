"""What tests share: small projects, tiny models, junk, kills, a browser."""
