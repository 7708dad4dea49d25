# shellcheck shell=sh
# For terminals, which are login shells: Python as in the notebooks, and a prompt that needs no user name.
PATH=/opt/notebook/bin:$PATH
PS1='\w\$ '
# As in ipython_kernel_config.py: what runs in a terminal goes before the server when memory is short.
echo $(($(cat /proc/self/oom_score_adj) + 200)) 2>/dev/null > /proc/self/oom_score_adj || :
