"""The portal's routes, one file per part of the portal."""
