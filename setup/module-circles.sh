#!/usr/bin/env bash
# Fail if modules of a crate use each other in a circle.
#
#     setup/module-circles.sh CRATE...    directories with a `src` in them
#
# A module is one below the crate's root, with all that is in it. It uses what it names by a path that begins with `crate`.
# Tests and comments do not count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

edges() {
    # shellcheck disable=SC2016 # these are perl's variables
    find "$1/src" -name '*.rs' -not -path '*/tests/*' -not -name tests.rs -print0 | sort -z | xargs -0 perl -0777 -ne '
        my ($file) = $ARGV =~ m{/src/(.*)\.rs$};
        my ($module) = $file =~ m{^([^/]+)};
        next if $module eq "lib" || $module eq "main";
        s/#\[cfg\([^\n]*test[^\n]*\)\]\n(?:pub\(\w+\) )?mod \w+ \{.*//s;   # unit tests stand at the end
        s{//[^\n]*}{}g;
        my %used;
        $used{$1} = 1 while /\bcrate::(\w+)/g;
        while (/\bcrate::\{([^;]*)\};/g) {
            my ($list, $depth, $name) = ("$1,", 0, "");
            for my $char (split //, $list) {
                $depth += $char eq "{" ? 1 : $char eq "}" ? -1 : 0;
                if ($char eq "," && !$depth) { $used{$1} = 1 if $name =~ /^\s*(\w+)/; $name = "" } else { $name .= $char }
            }
        }
        print map { "$module $_\n" } grep { $_ ne $module } sort keys %used;
    ' | sort -u
}

failed=0
for crate; do
    # What is not a module, such as a type of the root, has nothing that it uses, and is in no circle.
    if circle=$(edges "$crate" | tsort 2>&1 >/dev/null); then
        printf '%s: no circle of modules\n' "$crate"
    else
        printf '%s: modules use each other in a circle:\n%s\n' "$crate" "$circle" >&2
        failed=1
    fi
done
exit "$failed"
