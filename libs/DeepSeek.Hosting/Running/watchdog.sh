# Ends the application's processes when the host is gone, even if it was killed.
# The host holds the other end of standard input and writes "+ PID" and "- PID" for each process group it starts and sees end.
trap '' INT TERM HUP
groups=' '
while read -r change pid; do
  case $change in
    +) groups="$groups$pid " ;;
    -) groups="${groups%% $pid *} ${groups#* $pid }" ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
round=0
while [ $round -lt 50 ]; do
  left=
  for environ in /proc/[0-9]*/environ; do
    if grep -qzs "^DEEPSEEK_HOST_PROCESS=$1/" "$environ"; then
      pid=${environ#/proc/}
      kill -KILL "${pid%/environ}" 2>/dev/null && left=1
    fi
  done
  [ -z "$left" ] && exit 0
  round=$((round + 1))
  sleep 0.1
done
