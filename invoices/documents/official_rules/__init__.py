"""The official rules about e-invoices: published Schematron files, run as XSLT in a limited process of their own.

``rule_sets`` lists the files and chooses by syntax and specification id, ``severities`` says what a failed rule means
for the verdict, ``rule_checker_pool`` starts the processes, ``rule_checker_process`` is one of them.
"""
