"""What is inside a container: a mail, an archive, a signed file, a winmail.dat; opened in limited processes only."""
