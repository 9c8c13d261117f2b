"""What was done in napari-probseg; the strokes are packed into the text."""

import numpy as np

import napari_probseg as ps
from napari_probseg.record import unpack

image = ps.read('image.tif').data
case = ps.Case(image, spacing=(0.5, 0.25), channel_axis=None)
session = ps.Session(case)
session.proposer = ps.load_proposer('growing')
session.completer = ps.load_completer('intensities')

session.mark(inside=unpack('b3x3:c-s5l0007j0e}'), where=np.s_[10:13, 11:14])
session.mark(outside=unpack('b3x3:c-s5l0007j0e}'), where=np.s_[1:4, 27:30])
session.propose(n=4, seed=1)
session.accept(1)
session.mark(outside=unpack('b3x3:c-s5l0007j0e}'), where=np.s_[19:22, 19:22])
session.finish()
session.mark(inside=unpack('b3x3:c-s5l0007j0e}'), where=np.s_[3:6, 25:28])
session.complete(smoothness=2.0)
session.accept(0)
session.finish()
session.reopen(2)
session.finish()
labels = np.zeros(case.shape, dtype=np.uint32)
labels[16:24, 0:9] = unpack('u8x9:c-muUU|?V$#W*nlAfEyG')
session.take(labels)
session.mark(inside=unpack('b3x3:c-s5l0007j0e}'), where=np.s_[13:16, 26:29])

objects = session.objects
partial = session.case.partial
