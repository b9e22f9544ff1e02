#!/bin/sh
# As much of a `wharf` as the tests measure: a native server, which $BENCH is.
case $1 in
--version) echo 'wharf of the tests' ;;
backends) echo '[{"name": "one", "compiled_in": true}, {"name": "two", "compiled_in": false}]' ;;
serve)
    while [ "$1" != --addr ]; do shift; done
    exec "$BENCH" --native "$2"
    ;;
*) exit 3 ;;
esac
