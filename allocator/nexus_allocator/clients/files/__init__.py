"""File storage: volume drivers, the quarantine engine, the scanner. None follows a link out of a place."""
