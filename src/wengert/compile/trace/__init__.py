"""What a function takes, reaches, keeps and stores while it is traced."""
