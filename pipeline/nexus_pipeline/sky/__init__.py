"""Where pixels lie on the sky: focal-plane layout, distortion, world coordinates."""
