#!/usr/bin/env bash
# namespace.sh FOLDER COMMAND...: runs COMMAND in a mount namespace that has just been made of copies of all mounts. Those
# of vecfs that are not below FOLDER, of suites that run at the same time, are taken away in it: their daemons could not
# end before it does.
folder=$1
shift
while read -r place; do
	place=$(printf %b "$place")
	[[ $place == "$folder"/* ]] || umount -l "$place"
done < <(findmnt -rn -o TARGET -t fuse.vecfs)
exec "$@"
