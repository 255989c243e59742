module mitotool

go 1.24

require github.com/elastic/mito v1.10.0
