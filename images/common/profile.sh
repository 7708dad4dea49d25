# shellcheck shell=sh
# For terminals, which are login shells: Python as in the notebooks, and a prompt that needs no user name.
PATH=/opt/notebook/bin:$PATH
# As in ipython_kernel_config.py: what runs in a terminal goes before the server when memory is short. Not what a login
# shell of a script starts, which may be the server itself.
case $- in
    *i*)
        PS1='\w\$ '
        echo $(($(cat /proc/self/oom_score_adj) + 200)) 2>/dev/null > /proc/self/oom_score_adj || :
        ;;
esac
