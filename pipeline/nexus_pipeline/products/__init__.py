"""What is read and written: L1 ramps, L2 images, L4 catalogues, their names and where they are kept."""
