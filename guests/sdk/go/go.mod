module wharf/guest

go 1.21
