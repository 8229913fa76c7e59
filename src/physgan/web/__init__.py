"""The web page and the HTTP API: pictures come by upload, and go back restored."""
