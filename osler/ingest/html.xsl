<?xml version="1.0"?>
<!-- One HTML page to the fields of a record: its title, and what a reader would read. Blocks end with a paragraph separator, table cells
     with a space; scripts, styles, forms, navigation and dialogs are left out. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="notation.xsl"/>
  <xsl:template match="/">
    <record>
      <field name="title">
        <xsl:variable name="title" select="normalize-space((//head/title)[1])"/>
        <xsl:value-of select="$title"/>
        <xsl:if test="not($title)"><xsl:value-of select="normalize-space((//h1)[1])"/></xsl:if>
      </field>
      <field name="text"><xsl:apply-templates select="//body"/></field>
    </record>
  </xsl:template>

  <xsl:template match="script | style | noscript | template | head | nav | aside | form | button | select | textarea | svg | canvas | iframe | object | video | audio | dialog | *[@hidden] | *[@role='navigation' or @role='banner' or @role='contentinfo' or @role='search' or @role='dialog' or @role='alertdialog']" priority="2"/>
  <xsl:template match="header[not(ancestor::article or ancestor::main)] | footer[not(ancestor::article or ancestor::main)]" priority="2"/>
  <xsl:template match="address | article | blockquote | caption | dd | div | dl | dt | fieldset | figcaption | figure | h1 | h2 | h3 | h4 | h5 | h6 | hr | li | main | ol | p | section | summary | table | tr | ul">
    <xsl:text>&#x2029;</xsl:text><xsl:apply-templates/><xsl:text>&#x2029;</xsl:text>
  </xsl:template>
  <xsl:template match="td | th"><xsl:apply-templates/><xsl:text> </xsl:text></xsl:template>
  <xsl:template match="br"><xsl:text>&#x2029;</xsl:text></xsl:template>
  <xsl:template match="table[.//th]" priority="1">
    <xsl:choose>
      <xsl:when test="$tables = 'none'"/>
      <xsl:when test="$tables and not(.//table)"><xsl:call-template name="table"/></xsl:when>
      <xsl:otherwise>&#x2029;<xsl:apply-templates/>&#x2029;</xsl:otherwise>
    </xsl:choose>
  </xsl:template>
  <xsl:template match="a[starts-with(@href, '#')]">
    <xsl:choose>
      <xsl:when test="sup or ancestor::sup or contains(@class, 'bibr') or contains(@href, 'cite') or contains(@href, 'bib') or starts-with(@href, '#ref')">&#xFDD0;c<xsl:apply-templates/>&#xFDD1;</xsl:when>
      <xsl:otherwise><xsl:apply-templates/></xsl:otherwise>
    </xsl:choose>
  </xsl:template>
  <xsl:template match="script[starts-with(@type, 'math/tex')]" priority="3">&#xFDD0;t<xsl:value-of select="."/>&#xFDD1;</xsl:template>
  <xsl:template match="span[@aria-hidden = 'true'] | span[contains(@class, 'MathJax')]" priority="2"/>
  <xsl:template match="img[contains(@class, 'tex') or contains(@class, 'math')][normalize-space(@alt)]">
    <xsl:if test="not(../..//math)">&#xFDD0;t<xsl:value-of select="@alt"/>&#xFDD1;</xsl:if>
  </xsl:template>
  <xsl:template match="pre"><xsl:text>&#x2029;</xsl:text><xsl:value-of select="translate(., '&#10;', '&#x2029;')"/><xsl:text>&#x2029;</xsl:text></xsl:template>
</xsl:stylesheet>
