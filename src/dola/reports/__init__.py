"""Results to look at: tables as text, and one page that needs no network. No torch in this room."""
