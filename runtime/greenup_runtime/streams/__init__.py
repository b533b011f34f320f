"""Classify a stream of samples: sources → samples → windows → queue → labels.

source.py and one file per source    bytes of lines, as they come
samples.py                           lines → values and times; garbage is counted
windows.py                           values → windows, by preprocess.py, in chunks of any size
waiting.py                           a bounded queue between reading and classifying
outputs.py mqtt.py                   labels to stdout, a file, a topic
pipeline.py                          one thread reads and cuts, one classifies and writes
"""
