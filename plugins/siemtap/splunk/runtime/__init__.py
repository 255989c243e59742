"""What an add-on carries: modular inputs, pages and alert actions."""
