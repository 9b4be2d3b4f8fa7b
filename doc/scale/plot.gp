# Draws the figures of doc/scale.md from the outputs beside it: run gnuplot plot.gp in this folder.
set terminal svg size 560,340 font "sans,12" background "white"
set key top left
set grid lc rgb "#dddddd"
set xlabel "ranks"
set logscale xy
set xtics (4, 8, 32, 128, 512, 2048, 8192)

set output "traffic.svg"
set xrange [7:1200]
set yrange [3:200000]
plot "cluster.txt" every ::1 using 3:7 with linespoints pt 7 lc rgb "#1f77b4" title "messages of a step", \
     "cluster.txt" every ::1 using 3:($3 - 1) with lines dt 2 lc rgb "#1f77b4" title "most: ranks - 1", \
     "cluster.txt" every ::1 using 3:($8 / 1000) with linespoints pt 5 lc rgb "#d62728" title "kB moved in a step, all ranks", \
     "cluster.txt" every ::1 using 3:($9 / 1000) with linespoints pt 9 lc rgb "#2ca02c" title "kB that a rank reduces"

set output "time.svg"
set xrange [3:10000]
set yrange [1:5000]
set ylabel "microseconds a step"
plot "cluster.txt" every ::1 using 3:10 with linespoints pt 7 lc rgb "#1f77b4" title "network, simulated", \
     "< awk '$1 == \"independent\" && $4 == 32 && $5 == 0.25' virtual.txt" using 2:11 with linespoints pt 5 \
     lc rgb "#d62728" title "planning, measured"

set output "saving.svg"
unset logscale
set xrange [-0.6:5.6]
set yrange [-2:60]
set ylabel "% saved of full training"
unset xlabel
set bmargin 3
set xtics ("4x32\nkeep 0.25" 0, "64x256\n0.25" 1, "512x32\n0.25" 2, "4x32\nkeep 0.5" 3, "64x256\n0.5" 4, "512x32\n0.5" 5)
set style fill solid
set boxwidth 0.25
set key top right
saved(what) = "< awk '/^ / && index($0, \"" . what . "\") { print $NF }' saving.txt"
plot saved("own, by one") using ($0 - 0.25):1 with boxes lc rgb "#d62728" title "own batches, one by one", \
     saved("own, by batch") using 0:1 with boxes lc rgb "#ff9896" title "own batches, by the batch", \
     saved("global ") using ($0 + 0.25):1 with boxes lc rgb "#1f77b4" title "global batches"
