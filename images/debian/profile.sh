# For terminals, which are login shells: Python as in the notebooks, and a prompt that needs no user name.
PATH=/opt/notebook/bin:$PATH
PS1='\w\$ '
