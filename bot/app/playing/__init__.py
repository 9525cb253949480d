"""Parts of the playground: its temporary folder, its web page, and what the page shows beside the chat."""
