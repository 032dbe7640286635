cd /.pagewalk/lib/modules; for m in kmalloc user vmalloc; do insmod sample_$m.ko; done
sleep 1000 & while :; do workload anonymous 2048 >/tmp/a; done & while :; do shootdown 4 40 4 >/tmp/d; done & while :; do workload anonymous 1024 >/tmp/b; done &
while :; do mmprobe race mprotect 64 >/tmp/c; ls /bin >/tmp/l; done
