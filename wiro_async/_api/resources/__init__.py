"""Models and files of the account, and the inputs that models want."""
