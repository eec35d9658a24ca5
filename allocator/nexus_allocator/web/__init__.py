"""The portal's pages: a route parses, calls one service function and shows what came back."""
