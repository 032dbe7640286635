cd /.pagewalk/lib/modules; for m in kmalloc user vmalloc; do insmod sample_$m.ko; done
sleep 1000 & sleep 1000 & workload storm 1 >/tmp/s & workload anonymous 4096 >/tmp/a & shootdown 4 40 4 >/tmp/d & workload anonymous 6144 >/tmp/b & mmprobe race mprotect 256 >/tmp/c &
wait
