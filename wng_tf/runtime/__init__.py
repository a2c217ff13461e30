"""What a program needs of its machine: errors in words, paths, memory, silence, compiled programs, imported parts."""
