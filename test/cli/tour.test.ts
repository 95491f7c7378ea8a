import { test } from 'uvu'
import { testPage } from '../support/walked-page.ts'

testPage('tour.md')

test.run()
