import { test } from 'uvu'
import { testPage } from '../support/walked-page.ts'

testPage('hopper.md')

test.run()
