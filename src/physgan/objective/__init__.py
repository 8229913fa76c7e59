"""What training minimises: one pure function per equation, and the weighted whole."""
