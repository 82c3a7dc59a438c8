"""The demo: a picture, an answer and two hundred pictures, against the emulator or live."""
