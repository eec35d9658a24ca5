"""Finding sources in an image and measuring them."""
