#!/bin/sh
# Start JupyterLab (which serves Notebook 7's pages too) with the given options.
#
# Operators of tmpnb have always written all options as one quoted argument: take such a one apart, quotes respected.
if [ $# -eq 1 ]; then
    case $1 in
        -*[[:space:]]-*)
            exec python3 -ISc 'import os, shlex, sys
os.execvp("jupyter-lab", ["jupyter-lab", *shlex.split(sys.argv[1])])' "$1" ;;
    esac
fi
exec jupyter-lab "$@"
