module wharf/guests/go-fetch

go 1.21

require wharf/guest v0.0.0

replace wharf/guest => ../../sdk/go
