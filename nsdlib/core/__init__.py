"""Arrays in, arrays out, on the device they are on. Imports nothing else of nsdlib."""
