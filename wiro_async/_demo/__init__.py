"""The demo: a picture, an answer and two hundred pictures, on an emulator or live."""
