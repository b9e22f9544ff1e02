module wharf/guests/hello-go

go 1.21
