module wharf/guests/go-download

go 1.21

require wharf/guest v0.0.0

replace wharf/guest => ../../sdk/go
